import CQwip
import Foundation

/// A model: weights and tokenizer, shared by its sessions.
///
/// Sendable: the handle is a number that the library looks up, and its functions for models may be called on any thread at
/// the same time. Sessions that still live keep the weights.
public final class Model: @unchecked Sendable {
    /// What has to be said before a model is loaded.
    public struct Options: Sendable {
        /// 0: one for each performance core.
        public var threads: Int32 = 0
        /// Logical processors to stay on, where the system allows that (Linux, not Apple's); empty: any.
        public var affinity: [UInt32] = []
        /// Off: the file is copied to memory, which survives that somebody truncates it.
        public var mapped = true
        public var locked = false
        public var prefaulted = false
        /// Bytes of memory of our own, 0: none. Mapped weights do not count.
        public var memoryLimit: UInt64 = 0
        /// 0: the processor alone; negative: all layers on the GPU.
        public var gpuLayers: Int32 = 0

        public init() {}
    }

    /// Told while a model loads: bytes done, bytes in all.
    public typealias Progress = @Sendable (_ done: UInt64, _ total: UInt64) -> Void

    let handle: OpaquePointer
    private let loading = Loading()

    /// Opens nothing yet: `open` and `load` follow.
    public init(options: Options = Options()) throws {
        var made: OpaquePointer?
        try check(qwip_model_new(&made)) { qwip_last_error($0) }
        guard let new = made else { throw QwipError(.internal, "no handle came") }
        handle = new
        try checked(qwip_model_set_threads(handle, options.threads))
        if !options.affinity.isEmpty {
            try checked(qwip_model_set_affinity(handle, options.affinity, options.affinity.count))
        }
        try checked(qwip_model_set_mmap(handle, options.mapped ? 1 : 0))
        try checked(qwip_model_set_mlock(handle, options.locked ? 1 : 0))
        try checked(qwip_model_set_prefault(handle, options.prefaulted ? 1 : 0))
        try checked(qwip_model_set_memory_limit(handle, options.memoryLimit))
        try checked(qwip_model_set_gpu_layers(handle, options.gpuLayers))
        let user = Unmanaged.passUnretained(loading).toOpaque()
        try checked(qwip_model_set_progress(handle, { done, total, user in
            guard let user else { return 1 }
            return Unmanaged<Loading>.fromOpaque(user).takeUnretainedValue().goOn(done, total) ? 0 : 1
        }, user))
    }

    deinit {
        _ = qwip_model_free(handle)
    }

    /// Opens and loads a file, on a thread of its own. Cancelling the task ends the load.
    public static func load(url: URL, options: Options = Options(), progress: Progress? = nil) async throws -> Model {
        let model = try Model(options: options)
        try await model.loadAsync(progress: progress) { try model.open(url: url) }
        return model
    }

    /// Maps a file and reads its header: `info` and `estimate` work from here on.
    public func open(url: URL) throws {
        guard url.isFileURL else {
            throw QwipError(.invalidArgument, "\(url.scheme ?? "this") is no scheme of files: the library opens no connections")
        }
        try checked(qwip_model_open_path(handle, whole(url.path)))
    }

    /// A part of an open file; the descriptor is duplicated. Length 0: to the end.
    public func open(fileDescriptor: Int32, offset: UInt64 = 0, length: UInt64 = 0) throws {
        try checked(qwip_model_open_fd(handle, fileDescriptor, offset, length))
    }

    /// A file in memory, which is kept until the model and its sessions have gone.
    public func open(data: Data) throws {
        let kept = data as NSData  // its bytes stay where they are
        let user = Unmanaged.passRetained(kept).toOpaque()
        // The library gives it back exactly once, also if this call fails.
        try checked(qwip_model_open_memory(handle, kept.bytes, kept.length, { user in
            if let user { Unmanaged<NSData>.fromOpaque(user).release() }
        }, user))
    }

    /// Loads what was opened: tokenizer, template, threads. Blocks; in a task use `loadAsync`.
    public func load() throws {
        try checked(qwip_model_load(handle))
    }

    /// `opening` and `load()` on a thread of their own; cancelling the task ends the load with CANCELLED.
    public func loadAsync(progress: Progress? = nil, opening: @escaping @Sendable () throws -> Void = {}) async throws {
        loading.begin(progress)
        try await withTaskCancellationHandler {
            try await onOwnThread {
                try opening()
                try self.load()
            }
        } onCancel: {
            self.loading.stop()
        }
    }

    /// What `qwip_model_info` says; fields that are not known here are left out.
    public struct Info: Codable, Sendable {
        public var architecture: String
        public var name: String?
        public var bytes: UInt64
        public var parameters: UInt64
        public var context: UInt32
        public var layers: UInt32
        public var embedding: UInt32
        public var vocab: UInt32
        /// "generate", "embed" or "rerank".
        public var task: String
        /// Of an embedding.
        public var dimensions: UInt32?
        public var thinks: Bool
    }

    public func info() throws -> Info {
        try JSONDecoder().decode(Info.self, from: Data(text { qwip_model_info(handle, $0) }.utf8))
    }

    /// A key of the file's metadata, as JSON; throws NOT_FOUND where there is none.
    public func metadata(_ key: String) throws -> String {
        let name = try whole(key)
        return try text { qwip_model_metadata(handle, name, $0) }
    }

    /// Bytes of our own, as counted against the limit.
    public func memoryUsed() throws -> UInt64 {
        var bytes: UInt64 = 0
        try checked(qwip_model_memory_used(handle, &bytes))
        return bytes
    }

    /// How many tokens a text has.
    public func countTokens(_ text: String, parsingControlTokens: Bool = false) throws -> Int {
        var count = 0
        let length = text.utf8.count
        try checked(qwip_model_tokenize(handle, text, length, parsingControlTokens ? 1 : 0, nil, 0, &count))
        return count
    }

    public func tokenize(_ text: String, parsingControlTokens: Bool = false) throws -> [UInt32] {
        let length = text.utf8.count
        let flags: UInt32 = parsingControlTokens ? 1 : 0
        let capacity = try countTokens(text, parsingControlTokens: parsingControlTokens)
        if capacity == 0 { return [] }
        var tokens = [UInt32](repeating: 0, count: capacity)
        var count = 0
        try checked(qwip_model_tokenize(handle, text, length, flags, &tokens, capacity, &count))
        return Array(tokens.prefix(count))
    }

    public func detokenize(_ tokens: [UInt32], showingControlTokens: Bool = false) throws -> String {
        try text { qwip_model_detokenize(handle, tokens, tokens.count, showingControlTokens ? 1 : 0, $0) }
    }

    /// The bytes of one token, none of a control token. Characters may be spread over several tokens.
    public func bytes(of token: UInt32) throws -> [UInt8] {
        var count = 0
        var bytes = [UInt8](repeating: 0, count: 256)
        var status = qwip_model_token_bytes(handle, token, &bytes, 256, &count)
        if status == Status.bufferTooSmall.rawValue, count > 256 {
            let capacity = count
            bytes = [UInt8](repeating: 0, count: capacity)
            status = qwip_model_token_bytes(handle, token, &bytes, capacity, &count)
        }
        try checked(status)
        return Array(bytes.prefix(count))
    }

    /// Whether an answer ends with this token.
    public func isEnd(_ token: UInt32) throws -> Bool {
        var answer: Int32 = 0
        try checked(qwip_model_is_end(handle, token, &answer))
        return answer != 0
    }

    /// The prompt that the model's own template makes of a conversation.
    public func prompt(for messages: [ChatMessage], tools: [Tool] = [], thinking: Bool? = nil) throws -> String {
        let list = try whole(json(messages))
        let choice: Int32 = thinking.map { $0 ? 1 : 0 } ?? -1
        if tools.isEmpty {
            return try text { qwip_model_apply_template(handle, list, nil, choice, $0) }
        }
        let offered = try whole(json(tools))
        return try text { qwip_model_apply_template(handle, list, offered, choice, $0) }
    }

    public func session(_ options: Session.Options = Session.Options()) throws -> Session {
        try Session(model: self, options: options)
    }

    func checked(_ status: Int32) throws {
        try check(status) { qwip_model_error(handle, $0) }
    }

    private func text(_ call: (TextOut) -> Int32) throws -> String {
        let (status, text) = takeText(call)
        try checked(status)
        return text
    }
}

/// What a load reports to, and what stops it. The lock makes it Sendable.
private final class Loading: @unchecked Sendable {
    private let lock = NSLock()
    private var progress: Model.Progress?
    private var stopped = false

    func begin(_ progress: Model.Progress?) {
        lock.lock()
        defer { lock.unlock() }
        self.progress = progress
    }

    func stop() {
        lock.lock()
        defer { lock.unlock() }
        stopped = true
    }

    func goOn(_ done: UInt64, _ total: UInt64) -> Bool {
        lock.lock()
        let (progress, stopped) = (self.progress, self.stopped)
        lock.unlock()
        // Outside the lock: what is told may take its time, or cancel.
        if !stopped { progress?(done, total) }
        return !stopped
    }
}
