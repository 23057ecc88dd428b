import CQwip
import Foundation

/// One sequence of tokens on a model: what it has read, and what it goes on with.
///
/// Sendable: one call runs at a time, and the library answers a second one with BUSY. `cancel` may always be called.
public final class Session: @unchecked Sendable {
    public enum CacheType: Int32, Sendable {
        case f16 = 0
        case f32 = 1
        case q8 = 2
    }

    public enum RopeScaling: Sendable {
        /// None, whatever the file says.
        case unscaled
        case linear(factor: Float)
        case yarn(factor: Float)
    }

    public struct Options: Sendable {
        /// Tokens that the session may hold; 0: what the model was trained for.
        public var context: UInt32 = 0
        /// Tokens of a prompt that are evaluated at once; 0: the library's choice.
        public var batch: UInt32 = 0
        public var keys: CacheType = .f16
        public var values: CacheType = .f16
        /// nil: as the file says.
        public var rope: RopeScaling?

        public init() {}
    }

    public let model: Model
    let handle: OpaquePointer

    public init(model: Model, options: Options = Options()) throws {
        var made: OpaquePointer?
        try model.checked(qwip_session_new(model.handle, &made))
        guard let new = made else { throw QwipError(.internal, "no handle came") }
        self.model = model
        handle = new
        try checked(qwip_session_set_context(handle, options.context))
        try checked(qwip_session_set_batch(handle, options.batch))
        try checked(qwip_session_set_cache_types(handle, options.keys.rawValue, options.values.rawValue))
        switch options.rope {
        case nil:
            break
        case .some(.unscaled):
            try checked(qwip_session_set_rope_scaling(handle, 1, 1))
        case .some(.linear(let factor)):
            try checked(qwip_session_set_rope_scaling(handle, 2, factor))
        case .some(.yarn(let factor)):
            try checked(qwip_session_set_rope_scaling(handle, 3, factor))
        }
    }

    private init(model: Model, forked handle: OpaquePointer) {
        self.model = model
        self.handle = handle
    }

    deinit {
        // After the requests on it, which go the same way.
        let address = Int(bitPattern: handle)
        retire { qwip_session_free(OpaquePointer(bitPattern: address)) }
    }

    /// What this session takes, with its own settings.
    public func estimate() throws -> MemoryEstimate {
        try MemoryEstimate { kind, bytes in
            try checked(qwip_session_estimate(handle, kind, bytes))
        }
    }

    /// Takes its memory now; otherwise the first use does.
    public func prepare() throws {
        try checked(qwip_session_prepare(handle))
    }

    /// Another session that holds the same, and shares its memory.
    public func fork() throws -> Session {
        var made: OpaquePointer?
        try checked(qwip_session_fork(handle, &made))
        guard let new = made else { throw QwipError(.internal, "no handle came") }
        return Session(model: model, forked: new)
    }

    /// Tokens that it holds.
    public func length() throws -> Int {
        var tokens = 0
        try checked(qwip_session_length(handle, &tokens))
        return tokens
    }

    /// The tokens that it holds.
    public func tokens() throws -> [UInt32] {
        var count = try length()
        var tokens = [UInt32](repeating: 0, count: count)
        let capacity = tokens.count
        try checked(qwip_session_tokens(handle, &tokens, capacity, &count))
        return Array(tokens.prefix(count))
    }

    /// Forgets what comes after the first `tokens`.
    public func truncate(to tokens: Int) throws {
        try checked(qwip_session_truncate(handle, tokens))
    }

    /// Writes what it has computed to a file: first under another name, then renamed.
    public func save(to url: URL) throws {
        try checked(qwip_session_save(handle, whole(url.path)))
    }

    public func restore(from url: URL) throws {
        try checked(qwip_session_restore(handle, whole(url.path)))
    }

    /// Ends the call or the request that runs on it; any thread.
    public func cancel() {
        _ = qwip_session_cancel(handle)
    }

    /// Appends tokens and evaluates them. Blocks.
    public func decode(_ tokens: [UInt32]) throws {
        try checked(qwip_session_decode(handle, tokens, tokens.count))
    }

    /// One number for each entry of the vocabulary, for the token that comes next.
    public func logits() throws -> [Float] {
        try floats { qwip_session_logits(handle, $0, $1, $2) }
    }

    /// The vector of a text, with a model made for that; 0 dimensions: all. Blocks; in a task use `embedding`.
    public func embed(_ text: String, dimensions: UInt32 = 0) throws -> [Float] {
        let length = text.utf8.count
        return try floats { qwip_session_embed(handle, text, length, dimensions, $0, $1, $2) }
    }

    /// How well a document answers a query, from 0 to 1, with a model made for that. Blocks; in a task use `score`.
    public func rerank(query: String, document: String) throws -> Double {
        var score = 0.0
        try checked(qwip_session_rerank(handle, whole(query), whole(document), &score))
        return score
    }

    /// `embed` on a thread of its own; cancelling the task cancels it.
    public func embedding(of text: String, dimensions: UInt32 = 0) async throws -> [Float] {
        try await withTaskCancellationHandler {
            try await onOwnThread { try self.embed(text, dimensions: dimensions) }
        } onCancel: {
            self.cancel()
        }
    }

    /// `rerank` on a thread of its own; cancelling the task cancels it.
    public func score(query: String, document: String) async throws -> Double {
        try await withTaskCancellationHandler {
            try await onOwnThread { try self.rerank(query: query, document: document) }
        } onCancel: {
            self.cancel()
        }
    }

    /// Asks, and gives what comes, as it comes. Ending the loop or cancelling the task cancels the request.
    public func stream(_ options: Request.Options, sampler: Sampler? = nil) throws -> AsyncThrowingStream<Event, Error> {
        try Request(session: self, options: options, sampler: sampler).events()
    }

    /// A whole answer.
    public func answer(_ options: Request.Options, sampler: Sampler? = nil) async throws -> Answer {
        var answer = Answer()
        for try await event in try stream(options, sampler: sampler) {
            answer.add(event)
        }
        try Task.checkCancellation()
        return answer
    }

    func checked(_ status: Int32) throws {
        try check(status) { qwip_session_error(handle, $0) }
    }

    /// Calls twice: for the number of floats, and for them.
    private func floats(_ call: (UnsafeMutablePointer<Float>?, Int, UnsafeMutablePointer<Int>) -> Int32) throws -> [Float] {
        var count = 0
        var vector = [Float](repeating: 0, count: 4096)
        var status = call(&vector, 4096, &count)
        if status == Status.bufferTooSmall.rawValue, count > 4096 {
            let capacity = count
            vector = [Float](repeating: 0, count: capacity)
            status = call(&vector, capacity, &count)
        }
        try checked(status)
        return Array(vector.prefix(count))
    }
}

/// How tokens are drawn. What is not said is the model's own setting.
///
/// Sendable: nothing is changed after `init`, and the library's functions for samplers may be called on any thread.
public final class Sampler: @unchecked Sendable {
    public struct Options: Sendable {
        /// 0: always the most probable token.
        public var temperature: Float?
        public var topK: UInt32?
        public var topP: Float?
        public var minP: Float?
        public var repeatPenalty: Float?
        public var presencePenalty: Float?
        public var frequencyPenalty: Float?
        public var penaltyLastN: UInt32?
        /// nil: another one each time.
        public var seed: UInt64?

        public init() {}
    }

    let handle: OpaquePointer

    public init(model: Model, options: Options = Options()) throws {
        var made: OpaquePointer?
        try model.checked(qwip_sampler_new(model.handle, &made))
        guard let new = made else { throw QwipError(.internal, "no handle came") }
        handle = new
        if let value = options.temperature { try checked(qwip_sampler_set_temperature(handle, value)) }
        if let value = options.topK { try checked(qwip_sampler_set_top_k(handle, value)) }
        if let value = options.topP { try checked(qwip_sampler_set_top_p(handle, value)) }
        if let value = options.minP { try checked(qwip_sampler_set_min_p(handle, value)) }
        if let value = options.repeatPenalty { try checked(qwip_sampler_set_repeat_penalty(handle, value)) }
        if let value = options.presencePenalty { try checked(qwip_sampler_set_presence_penalty(handle, value)) }
        if let value = options.frequencyPenalty { try checked(qwip_sampler_set_frequency_penalty(handle, value)) }
        if let value = options.penaltyLastN { try checked(qwip_sampler_set_penalty_last_n(handle, value)) }
        if let value = options.seed { try checked(qwip_sampler_set_seed(handle, value)) }
    }

    deinit {
        _ = qwip_sampler_free(handle)
    }

    /// Draws from the session's logits.
    public func sample(_ session: Session) throws -> UInt32 {
        var token: UInt32 = 0
        try checked(qwip_sampler_sample(handle, session.handle, &token))
        return token
    }

    private func checked(_ status: Int32) throws {
        try check(status) { qwip_sampler_error(handle, $0) }
    }
}
