import Foundation
import Qwip

/// What the Objective-C++ side calls: chats and requests by number, answers by closure.
@objc(QwipBridge)
public final class QwipBridge: NSObject {
    private let table = Table()

    public typealias Answer = (Any?, NSError?) -> Void

    @objc public func load(path: String, context: Double, memoryLimit: Double, answer: @escaping Answer) {
        reply(answer) { table in
            var options = Model.Options()
            options.memoryLimit = UInt64(memoryLimit)
            let model = try await Model.load(url: URL(fileURLWithPath: path), options: options)
            var settings = Session.Options()
            settings.context = UInt32(context)
            let session = try model.session(settings)
            try session.prepare()
            return await table.add(Chat(session: session, signals: HostSignals(model: model)))
        }
    }

    @objc public func info(chat: Double, answer: @escaping Answer) {
        reply(answer) { table in
            let info = try await table.chat(chat).session.model.info()
            return String(decoding: try JSONEncoder().encode(info), as: UTF8.self)
        }
    }

    @objc public func estimate(path: String, context: Double, answer: @escaping Answer) {
        reply(answer) { _ in
            let model = try Model()
            try model.open(url: URL(fileURLWithPath: path))
            let estimate = try model.estimate(context: UInt32(context))
            return Double(estimate.dirty + estimate.gpu)
        }
    }

    @objc public func start(chat: Double, options: String, answer: @escaping Answer) {
        reply(answer) { table in
            let session = try await table.chat(chat).session
            let asked = try JSONDecoder().decode(Asked.self, from: Data(options.utf8))
            let request = try Request(session: session, options: asked.options(), sampler: asked.sampler(session.model))
            return await table.add(Running(request: request, events: try request.events()))
        }
    }

    @objc public func next(request: Double, answer: @escaping Answer) {
        reply(answer) { table in
            guard let running = await table.running(request), let event = try await running.next() else { return "" }
            return String(decoding: try JSONEncoder().encode(Told(event)), as: UTF8.self)
        }
    }

    @objc public func cancel(request: Double) {
        let table = self.table
        Task { await table.running(request)?.request.cancel() }
    }

    @objc public func close(request: Double) {
        let table = self.table
        Task { await table.close(request) }
    }

    @objc public func release(chat: Double) {
        let table = self.table
        Task { await table.release(chat) }
    }

    private func reply(_ answer: @escaping Answer, _ work: @escaping (Table) async throws -> Any) {
        let table = self.table
        Task {
            do {
                answer(try await work(table), nil)
            } catch let error as QwipError {
                let info = [NSLocalizedDescriptionKey: error.message]
                answer(nil, NSError(domain: "qwip", code: Int(error.status.rawValue), userInfo: info))
            } catch {
                answer(nil, error as NSError)
            }
        }
    }
}

private struct Chat {
    let session: Session
    let signals: HostSignals
}

/// JavaScript asks for one event after the other, so that nobody else has the iterator meanwhile.
private final class Running: @unchecked Sendable {
    let request: Request
    private var iterator: AsyncThrowingStream<Event, Error>.Iterator

    init(request: Request, events: AsyncThrowingStream<Event, Error>) {
        self.request = request
        iterator = events.makeAsyncIterator()
    }

    func next() async throws -> Event? {
        try await iterator.next()
    }
}

private actor Table {
    private var chats: [Int: Chat] = [:]
    private var requests: [Int: Running] = [:]
    private var last = 0

    func add(_ chat: Chat) -> Double {
        last += 1
        chats[last] = chat
        return Double(last)
    }

    func add(_ running: Running) -> Double {
        last += 1
        requests[last] = running
        return Double(last)
    }

    func chat(_ number: Double) throws -> Chat {
        guard let chat = chats[Int(number)] else { throw QwipError(.invalidHandle, "the chat has been released") }
        return chat
    }

    func running(_ number: Double) -> Running? {
        requests[Int(number)]
    }

    func close(_ number: Double) {
        requests.removeValue(forKey: Int(number))?.request.cancel()
    }

    func release(_ number: Double) {
        chats.removeValue(forKey: Int(number))
    }
}

/// The options of src/index.ts.
private struct Asked: Decodable {
    struct Offered: Decodable {
        struct Function: Decodable {
            var name: String
            var description: String?
            var parameters: JSONValue
        }

        var function: Function
    }

    var messages: [ChatMessage]
    var tools: [Offered]?
    var tool_choice: String?
    var json_schema: JSONValue?
    var thinking: Bool?
    var max_tokens: UInt32?
    var temperature: Float?
    var seed: UInt64?

    func options() throws -> Request.Options {
        var options = Request.Options(messages: messages)
        options.tools = (tools ?? []).map {
            Tool(name: $0.function.name, description: $0.function.description ?? "", parameters: $0.function.parameters)
        }
        switch tool_choice {
        case nil:
            options.toolChoice = nil
        case .some("none"):
            options.toolChoice = .never
        case .some("required"):
            options.toolChoice = .required
        default:
            options.toolChoice = .auto
        }
        if let schema = json_schema {
            options.jsonSchema = String(decoding: try JSONEncoder().encode(schema), as: UTF8.self)
        }
        options.thinking = thinking
        options.maxTokens = max_tokens
        return options
    }

    func sampler(_ model: Model) throws -> Sampler? {
        if temperature == nil && seed == nil { return nil }
        var options = Sampler.Options()
        options.temperature = temperature
        options.seed = seed
        return try Sampler(model: model, options: options)
    }
}

/// An event as src/index.ts reads it.
private struct Told: Encodable {
    var kind: String
    var data: String

    init(_ event: Event) throws {
        switch event {
        case .progress(let done, let total):
            (kind, data) = ("progress", "{\"done\":\(done),\"total\":\(total)}")
        case .text(let text):
            (kind, data) = ("text", text)
        case .reasoning(let text):
            (kind, data) = ("reasoning", text)
        case .toolCall(let call):
            (kind, data) = ("tool_call", String(decoding: try JSONEncoder().encode(call), as: UTF8.self))
        case .usage(let usage):
            (kind, data) = ("usage", String(decoding: try JSONEncoder().encode(usage), as: UTF8.self))
        case .finish(let reason):
            (kind, data) = ("finish", reason.rawValue)
        }
    }
}
