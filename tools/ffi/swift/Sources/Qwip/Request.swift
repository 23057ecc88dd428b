import CQwip
import Foundation

/// What comes of an answer, in this order: progress, then text, reasoning and tool calls, then usage, then finish.
public enum Event: Sendable, Equatable {
    /// Tokens of the prompt that have been evaluated.
    case progress(done: Int, total: Int)
    /// More of the answer: whole characters.
    case text(String)
    /// More of the thinking.
    case reasoning(String)
    /// A call, complete.
    case toolCall(ToolCall)
    case usage(Usage)
    /// The session is free for the next request.
    case finish(FinishReason)
}

/// A whole answer, put together from its events.
public struct Answer: Sendable, Equatable {
    public var message = ChatMessage(role: .assistant)
    public var usage: Usage?
    public var finish: FinishReason?

    public init() {}

    /// Takes up an event.
    public mutating func add(_ event: Event) {
        switch event {
        case .progress:
            break
        case .text(let more):
            message.content = (message.content ?? "") + more
        case .reasoning(let more):
            message.reasoningContent = (message.reasoningContent ?? "") + more
        case .toolCall(let call):
            message.toolCalls = (message.toolCalls ?? []) + [call]
        case .usage(let usage):
            self.usage = usage
        case .finish(let reason):
            finish = reason
        }
    }
}

/// One answer. It runs on threads of the library; none of Swift's is kept waiting.
///
/// Sendable: the lock guards what changes, and the library's functions for requests may be called on any thread.
public final class Request: @unchecked Sendable {
    public struct Options: Sendable {
        public var messages: [ChatMessage] = []
        /// In place of messages: exactly this text, control tokens included.
        public var prompt: String?
        public var tools: [Tool] = []
        /// nil: the model decides.
        public var toolChoice: ToolChoice?
        public var parallelToolCalls: Bool?
        /// A JSON schema that the answer is held to (feature "constrain").
        public var jsonSchema: String?
        /// A grammar in llguidance's variant of Lark (feature "constrain").
        public var grammar: String?
        /// nil: the model's own.
        public var thinking: Bool?
        public var thinkingBudget: UInt32?
        /// A JSON object that the template gets besides.
        public var templateArguments: String?
        public var maxTokens: UInt32?
        public var stop: [String] = []
        public var ignoresEnd = false

        public init(messages: [ChatMessage] = []) {
            self.messages = messages
        }
    }

    public let session: Session
    let handle: OpaquePointer
    private let sink: EventSink
    /// Until it is given out: a stream that is also held here would not notice that its reader has gone.
    private var stream: AsyncThrowingStream<Event, Error>?
    private let lock = NSLock()

    public init(session: Session, options: Options, sampler: Sampler? = nil) throws {
        var made: OpaquePointer?
        try session.checked(qwip_request_new(session.handle, &made))
        guard let new = made else { throw QwipError(.internal, "no handle came") }
        self.session = session
        handle = new
        var given: AsyncThrowingStream<Event, Error>.Continuation?
        // What waits to be read is an answer at most, which max_tokens and the context bound.
        stream = AsyncThrowingStream(bufferingPolicy: .unbounded) { given = $0 }
        guard let continuation = given else { throw QwipError(.internal, "the stream gave no continuation") }
        sink = EventSink(handle: new, continuation: continuation)
        try set(options)
        if let sampler { try checked(qwip_request_set_sampler(handle, sampler.handle)) }
    }

    deinit {
        // The sink has to live until no callback runs or begins any more, which is when the request is freed.
        let sink = self.sink
        retire { qwip_request_free(sink.handle) }
    }

    private func set(_ options: Options) throws {
        if !options.messages.isEmpty { try checked(qwip_request_set_messages(handle, whole(json(options.messages)))) }
        if let text = options.prompt { try checked(qwip_request_set_prompt(handle, whole(text))) }
        if !options.tools.isEmpty { try checked(qwip_request_set_tools(handle, whole(json(options.tools)))) }
        if let choice = options.toolChoice { try checked(qwip_request_set_tool_choice(handle, whole(choice.text()))) }
        if let on = options.parallelToolCalls { try checked(qwip_request_set_parallel_tool_calls(handle, on ? 1 : 0)) }
        if let text = options.jsonSchema { try checked(qwip_request_set_json_schema(handle, whole(text))) }
        if let text = options.grammar { try checked(qwip_request_set_grammar(handle, whole(text))) }
        if let on = options.thinking { try checked(qwip_request_set_thinking(handle, on ? 1 : 0)) }
        if let tokens = options.thinkingBudget { try checked(qwip_request_set_thinking_budget(handle, tokens)) }
        if let text = options.templateArguments { try checked(qwip_request_set_template_kwargs(handle, whole(text))) }
        if let tokens = options.maxTokens { try checked(qwip_request_set_max_tokens(handle, tokens)) }
        for text in options.stop { try checked(qwip_request_add_stop(handle, whole(text))) }
        if options.ignoresEnd { try checked(qwip_request_set_ignore_eos(handle, 1)) }
    }

    /// Starts, and gives what comes. Once: a second call throws WRONG_STATE. Throws BUSY while the session is.
    ///
    /// If the task that reads is cancelled, or the loop is left, the request is cancelled; the session is then free after 50 ms
    /// at most, which `finished()` waits for.
    public func events() throws -> AsyncThrowingStream<Event, Error> {
        lock.lock()
        defer { lock.unlock() }
        guard let stream else { throw QwipError(.wrongState, "the request has been started before") }
        // The stream holds the request until it ends, so that nobody else has to.
        sink.continuation.onTermination = { _ in self.cancel() }
        do {
            let user = Unmanaged.passUnretained(sink).toOpaque()
            try checked(qwip_request_start(handle, { kind, data, length, user in
                guard let user else { return 1 }
                return Unmanaged<EventSink>.fromOpaque(user).takeUnretainedValue().deliver(kind, data, length) ? 0 : 1
            }, user))
        } catch {
            sink.continuation.onTermination = nil
            throw error
        }
        self.stream = nil
        return stream
    }

    /// Ends it; `finish(.cancelled)` follows. Any thread, and also when it is over.
    public func cancel() {
        _ = qwip_request_cancel(handle)
    }

    /// Waits until it is over and the session free, without keeping a thread of Swift's waiting.
    public func finished() async {
        _ = try? await onOwnThread { qwip_request_wait(self.handle, -1) }
    }

    private func checked(_ status: Int32) throws {
        try check(status) { qwip_request_error(handle, $0) }
    }
}

/// Where the library's callback puts events. Sendable: all of it is constant, and continuations are made for any thread.
private final class EventSink: @unchecked Sendable {
    let handle: OpaquePointer
    let continuation: AsyncThrowingStream<Event, Error>.Continuation

    init(handle: OpaquePointer, continuation: AsyncThrowingStream<Event, Error>.Continuation) {
        self.handle = handle
        self.continuation = continuation
    }

    /// On a thread of the request. False: nobody reads any more.
    func deliver(_ kind: Int32, _ data: UnsafePointer<CChar>?, _ length: Int) -> Bool {
        let bytes = UnsafeRawBufferPointer(start: data, count: data == nil ? 0 : length)
        let text = String(decoding: bytes, as: UTF8.self)
        do {
            switch kind {
            case 1:
                let progress = try decode(Progress.self, text)
                return passOn(.progress(done: progress.done, total: progress.total))
            case 2:
                return passOn(.text(text))
            case 3:
                return passOn(.reasoning(text))
            case 4:
                return passOn(.toolCall(try decode(ToolCall.self, text)))
            case 5:
                return passOn(.usage(try decode(Usage.self, text)))
            case 6:
                end(Event.finish(FinishReason(rawValue: text)))
                return true
            case 7:
                end(nil)  // the request knows its status and its text
                return true
            default:
                return true  // of a newer library
            }
        } catch {
            continuation.finish(throwing: QwipError(.internal, "an event of kind \(kind) cannot be read: \(error)"))
            return false
        }
    }

    private func passOn(_ event: Event) -> Bool {
        if case .terminated = continuation.yield(event) { return false }
        return true
    }

    /// Ends the stream once the library is done with the request, so that the session is free when the reader knows. Waiting
    /// for that is not possible on the callback's own thread.
    private func end(_ last: Event?) {
        reaper.async {
            let status = qwip_request_wait(self.handle, 10_000)
            do {
                try check(status) { qwip_request_error(self.handle, $0) }
                if let last { self.continuation.yield(last) }
                self.continuation.finish()
            } catch {
                self.continuation.finish(throwing: error)
            }
        }
    }

    private struct Progress: Codable {
        var done: Int
        var total: Int
    }

    private func decode<T: Decodable>(_ type: T.Type, _ text: String) throws -> T {
        try JSONDecoder().decode(type, from: Data(text.utf8))
    }
}
