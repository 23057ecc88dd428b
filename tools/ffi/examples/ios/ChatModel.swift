import Foundation
import Qwip

/// A conversation with a model from a file. Everything that takes time happens on threads of the library.
@MainActor
final class ChatModel: ObservableObject {
    @Published private(set) var messages: [ChatMessage] = []
    @Published private(set) var note = "No model yet"
    @Published private(set) var loadedShare: Double?
    @Published private(set) var isAnswering = false

    private var model: Model?
    private var session: Session?
    private var signals: HostSignals?
    private var answering: Task<Void, Never>?
    private let context: UInt32 = 4096

    var isReady: Bool { session != nil }

    /// Takes a model that the user has chosen: a copy in the app's own folder, which no backup takes along.
    func take(from chosen: URL) {
        Task {
            do {
                note = "Copying \(chosen.lastPathComponent)"
                let url = try await Task.detached { try Self.keep(chosen) }.value
                try await load(url)
            } catch {
                note = error.localizedDescription
            }
        }
    }

    /// Loads the model of the last time, if there is one.
    func loadKept() {
        guard session == nil, let url = try? Self.kept(), FileManager.default.fileExists(atPath: url.path) else { return }
        Task {
            do {
                try await load(url)
            } catch {
                note = error.localizedDescription
            }
        }
    }

    private func load(_ url: URL) async throws {
        answering?.cancel()
        signals = nil
        session = nil
        model = nil
        // Opened once to ask what it takes, and again with a limit: that has to be said before the load.
        let asked = try Model()
        try asked.open(url: url)
        let advice = try asked.advice(context: context)
        guard advice.fits else {
            let bytes = Int64(advice.estimate.dirty + advice.estimate.gpu)
            let needed = ByteCountFormatter.string(fromByteCount: bytes, countStyle: .memory)
            note = "This model needs \(needed) besides its file, which is more than there is"
            return
        }
        var options = Model.Options()
        options.memoryLimit = advice.suggestedLimit ?? 0
        let model = try await Model.load(url: url, options: options) { done, total in
            Task { @MainActor [weak self] in
                self?.loadedShare = total == 0 ? nil : Double(done) / Double(total)
            }
        }
        loadedShare = nil
        var settings = Session.Options()
        settings.context = context
        let session = try model.session(settings)
        try session.prepare()
        self.model = model
        self.session = session
        signals = HostSignals(model: model)
        let info = try model.info()
        note = info.name ?? info.architecture
    }

    func send(_ text: String) {
        guard let session, !isAnswering else { return }
        messages.append(.user(text))
        var options = Request.Options(messages: messages)
        options.maxTokens = 1024
        messages.append(.assistant(""))
        isAnswering = true
        answering = Task {
            do {
                let request = try Request(session: session, options: options)
                for try await event in try request.events() {
                    if case .text(let more) = event { append(more) }
                }
                // After a cancelled task the session may be busy for a moment.
                await request.finished()
            } catch {
                note = error.localizedDescription
            }
            isAnswering = false
        }
    }

    func stop() {
        answering?.cancel()
    }

    private func append(_ text: String) {
        guard let last = messages.indices.last else { return }
        messages[last].content = (messages[last].content ?? "") + text
    }

    private nonisolated static func kept() throws -> URL {
        let folder = try FileManager.default.url(
            for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        return folder.appendingPathComponent("model.gguf")
    }

    private nonisolated static func keep(_ chosen: URL) throws -> URL {
        let access = chosen.startAccessingSecurityScopedResource()
        defer { if access { chosen.stopAccessingSecurityScopedResource() } }
        var url = try kept()
        if FileManager.default.fileExists(atPath: url.path) {
            try FileManager.default.removeItem(at: url)
        }
        try FileManager.default.copyItem(at: chosen, to: url)
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        try url.setResourceValues(values)
        return url
    }
}
