import Foundation

/// A turn of a conversation, as OpenAI writes it.
public struct ChatMessage: Codable, Sendable, Equatable {
    public enum Role: String, Codable, Sendable {
        case system
        case user
        case assistant
        case tool
    }

    public var role: Role
    public var content: String?
    public var reasoningContent: String?
    public var toolCalls: [ToolCall]?
    /// Of a tool's result: which call it answers.
    public var toolCallID: String?

    public init(role: Role, content: String? = nil) {
        self.role = role
        self.content = content
    }

    public static func system(_ text: String) -> ChatMessage { ChatMessage(role: .system, content: text) }

    public static func user(_ text: String) -> ChatMessage { ChatMessage(role: .user, content: text) }

    public static func assistant(_ text: String) -> ChatMessage { ChatMessage(role: .assistant, content: text) }

    /// What a function gave back.
    public static func result(_ text: String, of call: ToolCall) -> ChatMessage {
        var message = ChatMessage(role: .tool, content: text)
        message.toolCallID = call.id
        return message
    }

    enum CodingKeys: String, CodingKey {
        case role
        case content
        case reasoningContent = "reasoning_content"
        case toolCalls = "tool_calls"
        case toolCallID = "tool_call_id"
    }
}

/// A call that the model asks for.
public struct ToolCall: Codable, Sendable, Equatable {
    public struct Function: Codable, Sendable, Equatable {
        public var name: String
        /// A JSON object, as text.
        public var arguments: String

        public init(name: String, arguments: String) {
            self.name = name
            self.arguments = arguments
        }
    }

    public var index: Int?
    public var id: String
    public var type: String
    public var function: Function

    public init(id: String, function: Function) {
        self.id = id
        self.type = "function"
        self.function = function
    }

    /// The arguments as a type of yours.
    public func arguments<T: Decodable>(as type: T.Type) throws -> T {
        try JSONDecoder().decode(type, from: Data(function.arguments.utf8))
    }
}

/// A function that the model may call.
public struct Tool: Encodable, Sendable, Equatable {
    public var name: String
    public var description: String
    /// A JSON schema of an object.
    public var parameters: JSONValue

    public init(name: String, description: String, parameters: JSONValue) {
        self.name = name
        self.description = description
        self.parameters = parameters
    }

    private enum Outer: String, CodingKey {
        case type
        case function
    }

    private enum Inner: String, CodingKey {
        case name
        case description
        case parameters
    }

    public func encode(to encoder: Encoder) throws {
        var outer = encoder.container(keyedBy: Outer.self)
        try outer.encode("function", forKey: .type)
        var inner = outer.nestedContainer(keyedBy: Inner.self, forKey: .function)
        try inner.encode(name, forKey: .name)
        try inner.encode(description, forKey: .description)
        try inner.encode(parameters, forKey: .parameters)
    }
}

/// Whether functions are called. `required` and `function` need the feature "constrain".
public enum ToolChoice: Sendable, Equatable {
    case auto
    case never
    case required
    case function(String)

    func text() throws -> String {
        switch self {
        case .auto:
            return "auto"
        case .never:
            return "none"
        case .required:
            return "required"
        case .function(let name):
            let value: JSONValue = ["type": "function", "function": ["name": .string(name)]]
            return try json(value)
        }
    }
}

/// What an answer took.
public struct Usage: Codable, Sendable, Equatable {
    public struct PromptDetails: Codable, Sendable, Equatable {
        public var cachedTokens: Int

        enum CodingKeys: String, CodingKey {
            case cachedTokens = "cached_tokens"
        }
    }

    public var promptTokens: Int
    public var completionTokens: Int
    public var totalTokens: Int
    public var promptDetails: PromptDetails?

    enum CodingKeys: String, CodingKey {
        case promptTokens = "prompt_tokens"
        case completionTokens = "completion_tokens"
        case totalTokens = "total_tokens"
        case promptDetails = "prompt_tokens_details"
    }
}

/// Why an answer ended.
public struct FinishReason: RawRepresentable, Hashable, Sendable {
    public let rawValue: String

    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    public static let stop = FinishReason(rawValue: "stop")
    public static let length = FinishReason(rawValue: "length")
    public static let toolCalls = FinishReason(rawValue: "tool_calls")
    public static let cancelled = FinishReason(rawValue: "cancelled")
    /// It only repeated itself.
    public static let repetition = FinishReason(rawValue: "repetition")
}

/// Any JSON, for schemas: `["type": "object", "properties": ["city": ["type": "string"]]]`.
public enum JSONValue: Codable, Sendable, Equatable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    public init(from decoder: Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    public func encode(to encoder: Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null:
            try container.encodeNil()
        case .bool(let value):
            try container.encode(value)
        case .number(let value):
            try container.encode(value)
        case .string(let value):
            try container.encode(value)
        case .array(let value):
            try container.encode(value)
        case .object(let value):
            try container.encode(value)
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral {
    public init(stringLiteral value: String) { self = .string(value) }

    public init(booleanLiteral value: Bool) { self = .bool(value) }

    public init(integerLiteral value: Int) { self = .number(Double(value)) }

    public init(floatLiteral value: Double) { self = .number(value) }

    public init(nilLiteral: ()) { self = .null }

    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }

    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        var object: [String: JSONValue] = [:]
        for (key, value) in elements { object[key] = value }
        self = .object(object)
    }
}

/// JSON text, the same for the same value: keys in a fixed order, so that a prompt begins as the last one did and what the
/// session holds of it can be used.
func json<T: Encodable>(_ value: T) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
}
