import Foundation
import XCTest

@testable import Qwip

/// With the built-in model: QWIP_TEST_MODEL=.../tools/builtin/builtin.gguf swift test
final class QwipTests: XCTestCase {
    private func model(_ change: (inout Model.Options) -> Void = { _ in }) async throws -> Model {
        guard let path = ProcessInfo.processInfo.environment["QWIP_TEST_MODEL"] else {
            throw XCTSkip("QWIP_TEST_MODEL names no model")
        }
        var options = Model.Options()
        options.threads = 2
        change(&options)
        return try await Model.load(url: URL(fileURLWithPath: path), options: options)
    }

    private func greedy(_ model: Model) throws -> Sampler {
        var options = Sampler.Options()
        options.temperature = 0
        options.repeatPenalty = 1
        options.presencePenalty = 0
        options.frequencyPenalty = 0
        return try Sampler(model: model, options: options)
    }

    private let hello = Request.Options(messages: [.user("Hello!")])

    private func status(_ work: () async throws -> Void) async -> Status? {
        do {
            try await work()
            return nil
        } catch {
            XCTAssertFalse((error as? QwipError)?.message.isEmpty ?? true, "\(error)")
            return (error as? QwipError)?.status
        }
    }

    func testTheHeaderAndTheLibraryBelongTogether() {
        XCTAssertEqual(Library.abiVersion, 1)
        XCTAssertFalse(Library.version.isEmpty)
        XCTAssertEqual(QwipError(.busy, "x").description, "x (QWIP_STATUS_BUSY)")
    }

    func testAnAnswer() async throws {
        let model = try await self.model()
        XCTAssertEqual(try model.info().architecture, "qwen3")
        let session = try model.session()
        let answer = try await session.answer(hello, sampler: greedy(model))
        XCTAssertEqual(answer.finish, .stop)
        XCTAssertFalse(answer.message.content?.isEmpty ?? true)
        let usage = try XCTUnwrap(answer.usage)
        XCTAssertEqual(usage.totalTokens, usage.promptTokens + usage.completionTokens)
        // A second one on the same session, at once.
        let again = try await session.answer(hello, sampler: greedy(model))
        XCTAssertEqual(again.message, answer.message)
    }

    func testEventsComeInOrder() async throws {
        let model = try await self.model()
        var kinds: [String] = []
        for try await event in try model.session().stream(hello, sampler: greedy(model)) {
            switch event {
            case .progress: kinds.append("progress")
            case .text: kinds.append("text")
            case .reasoning: kinds.append("reasoning")
            case .toolCall: kinds.append("call")
            case .usage: kinds.append("usage")
            case .finish: kinds.append("finish")
            }
        }
        XCTAssertEqual(Array(kinds.suffix(2)), ["usage", "finish"])
        XCTAssertTrue(kinds.contains("text"))
    }

    func testCancellingTheTaskCancelsTheRequest() async throws {
        let model = try await self.model()
        let session = try model.session()
        var options = hello
        options.ignoresEnd = true
        options.maxTokens = 1500
        let request = try Request(session: session, options: options)
        let task = Task {
            var events = 0
            for try await event in try request.events() {
                if case .text = event { events += 1 }
                if events == 3 { withUnsafeCurrentTask { $0?.cancel() } }
            }
            return events
        }
        let events = try await task.value
        XCTAssertLessThan(events, 1000)
        await request.finished()
        let answer = try await session.answer(hello, sampler: greedy(model))
        XCTAssertEqual(answer.finish, .stop)
    }

    func testLeavingTheLoopCancels() async throws {
        let model = try await self.model()
        let session = try model.session()
        var options = hello
        options.ignoresEnd = true
        options.maxTokens = 1500
        let request = try Request(session: session, options: options)
        for try await _ in try request.events() { break }
        await request.finished()
        XCTAssertLessThan(try session.length(), 1000)
    }

    func testGreedyLogitsSayTheSame() async throws {
        let model = try await self.model()
        var options = Request.Options()
        options.prompt = try model.prompt(for: hello.messages, thinking: false)
        options.maxTokens = 12
        let asked = try await model.session().answer(options, sampler: greedy(model))
        let session = try model.session()
        try session.decode(model.tokenize(try XCTUnwrap(options.prompt), parsingControlTokens: true))
        var said: [UInt32] = []
        while said.count < 12 {
            let logits = try session.logits()
            // Of equal ones the first, as the library chooses.
            let best = try XCTUnwrap(logits.indices.max { (logits[$0], -$0) < (logits[$1], -$1) })
            if try model.isEnd(UInt32(best)) { break }
            said.append(UInt32(best))
            try session.decode([UInt32(best)])
        }
        XCTAssertEqual(try model.detokenize(said), asked.message.content)
    }

    func testSavedAndRestored() async throws {
        let model = try await self.model()
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: url) }
        let (session, other) = (try model.session(), try model.session())
        let tokens = try model.tokenize("Hello, what is qwip?")
        try session.decode(tokens)
        try session.save(to: url)
        try other.restore(from: url)
        XCTAssertEqual(try other.length(), tokens.count)
        try session.decode([tokens[0]])
        try other.decode([tokens[0]])
        XCTAssertEqual(try session.logits(), try other.logits())
    }

    func testMisuse() async throws {
        let model = try await self.model()
        let session = try model.session()
        var long = hello
        long.ignoresEnd = true
        long.maxTokens = 1500
        let request = try Request(session: session, options: long)
        let stream = try request.events()
        let busy = await status { try session.decode([1]) }
        XCTAssertEqual(busy, .busy)
        let twice = await status { _ = try request.events() }
        XCTAssertEqual(twice, .wrongState)
        request.cancel()
        for try await _ in stream {}
        let chatModel = await status { _ = try await session.embedding(of: "text") }
        XCTAssertEqual(chatModel, .unsupported)
        let nul = await status { _ = try model.metadata("a\0b") }
        XCTAssertEqual(nul, .invalidArgument)
        let small = await status {
            let little = try await self.model { $0.memoryLimit = 100_000 }
            try little.session().prepare()
        }
        XCTAssertEqual(small, .outOfMemory)
        let missing = await status { _ = try await Model.load(url: URL(fileURLWithPath: "/nothing.gguf")) }
        XCTAssertEqual(missing, .notFound)
    }

    func testMessagesAreOpenAIs() throws {
        let call = ToolCall(id: "call_1", function: .init(name: "f", arguments: "{\"a\":1}"))
        XCTAssertEqual(
            try json([ChatMessage.result("18", of: call)]), "[{\"content\":\"18\",\"role\":\"tool\",\"tool_call_id\":\"call_1\"}]")
        let tool = Tool(name: "f", description: "d", parameters: ["type": "object"])
        XCTAssertEqual(
            try json(tool),
            "{\"function\":{\"description\":\"d\",\"name\":\"f\",\"parameters\":{\"type\":\"object\"}},\"type\":\"function\"}")
        XCTAssertEqual(try call.arguments(as: [String: Int].self), ["a": 1])
        XCTAssertEqual(try ToolChoice.function("f").text(), "{\"function\":{\"name\":\"f\"},\"type\":\"function\"}")
    }
}
