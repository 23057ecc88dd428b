import CQwip
import Foundation

/// How a call ended: the numbers of qwip.h. A newer library may give others.
public struct Status: RawRepresentable, Hashable, Sendable {
    public let rawValue: Int32

    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    public static let ok = Status(rawValue: 0)
    /// A value out of range, broken JSON, text with a NUL character.
    public static let invalidArgument = Status(rawValue: 1)
    public static let invalidHandle = Status(rawValue: 2)
    /// Not loaded yet, already started, a setting too late.
    public static let wrongState = Status(rawValue: 3)
    /// Another call uses the session.
    public static let busy = Status(rawValue: 4)
    public static let cancelled = Status(rawValue: 5)
    public static let timeout = Status(rawValue: 6)
    public static let done = Status(rawValue: 7)
    public static let notFound = Status(rawValue: 8)
    public static let io = Status(rawValue: 9)
    public static let invalidModel = Status(rawValue: 10)
    public static let unsupported = Status(rawValue: 11)
    /// The memory limit, or the system's.
    public static let outOfMemory = Status(rawValue: 12)
    public static let contextFull = Status(rawValue: 13)
    public static let bufferTooSmall = Status(rawValue: 14)
    /// New work while the model is in the background.
    public static let background = Status(rawValue: 15)
    /// A defect of the library.
    public static let `internal` = Status(rawValue: 16)
}

/// A call failed: `status` says how, `message` what was wrong with what, in one line.
public struct QwipError: Error, LocalizedError, CustomStringConvertible, Sendable {
    public let status: Status
    public let message: String

    public init(_ status: Status, _ message: String) {
        self.status = status
        self.message = message
    }

    public var description: String {
        "\(message) (\(String(cString: qwip_status_name(status.rawValue))))"
    }

    public var errorDescription: String? { message }
}

/// The library as a whole.
public enum Library {
    public static var version: String { String(cString: qwip_version()) }

    /// `qwip.h` and the library that is linked belong together if this is 1.
    public static var abiVersion: UInt32 { qwip_abi_version() }

    /// Whether "constrain" (JSON schemas, grammars, forced tool calls) or "gpu" was built in.
    public static func hasFeature(_ name: String) -> Bool {
        qwip_has_feature(name) != 0
    }
}

extension Library {
    public enum LogLevel: Int32, Sendable {
        case error = 1
        case warning = 2
        case info = 3
        case debug = 4
    }

    /// Has `write` hear what happens; nil: nobody. It is called on any thread, on several at the same time, and must not call
    /// the library.
    public static func setLog(
        upTo mostVerbose: LogLevel = .info, _ write: (@Sendable (_ level: Int32, _ message: String) -> Void)?
    ) throws {
        logLock.lock()
        defer { logLock.unlock() }
        let new = write.map { LogBox(write: $0) }
        let user = new.map { Unmanaged.passUnretained($0).toOpaque() }
        let status: Int32
        if new == nil {
            status = qwip_set_log(nil, nil, mostVerbose.rawValue)
        } else {
            status = qwip_set_log({ level, message, user in
                guard let message, let user else { return }
                Unmanaged<LogBox>.fromOpaque(user).takeUnretainedValue().write(level, String(cString: message))
            }, user, mostVerbose.rawValue)
        }
        try check(status) { qwip_last_error($0) }
        // The former one is no longer running, so that it may go.
        logBox = new
    }
}

private final class LogBox {
    let write: @Sendable (Int32, String) -> Void

    init(write: @escaping @Sendable (Int32, String) -> Void) {
        self.write = write
    }
}

private let logLock = NSLock()
private var logBox: LogBox?

/// Where the library writes a text that the caller has to free.
typealias TextOut = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

/// The text that `call` gives out, and the status it ended with; the text is freed.
func takeText(_ call: (TextOut) -> Int32) -> (status: Int32, text: String) {
    var out: UnsafeMutablePointer<CChar>?
    let status = withUnsafeMutablePointer(to: &out) { call($0) }
    guard let text = out else { return (status, "") }
    defer { qwip_string_free(text) }
    return (status, String(cString: text))
}

/// Throws unless `status` is OK, with the text that `handleError` gives, or else that of this thread.
func check(_ status: Int32, _ handleError: (TextOut) -> Int32) throws {
    if status == Status.ok.rawValue { return }
    var message = ""
    if status != Status.invalidHandle.rawValue {
        message = takeText(handleError).text
    }
    if message.isEmpty {
        message = takeText { qwip_last_error($0) }.text
    }
    throw QwipError(Status(rawValue: status), message)
}

/// `text`, which C can take whole: Swift would hand it over up to its first NUL character and say nothing.
func whole(_ text: String) throws -> String {
    if text.utf8.contains(0) {
        throw QwipError(.invalidArgument, "the text holds a NUL character")
    }
    return text
}

/// Runs what may take long on a thread of its own: the threads of Swift's tasks are few, and none of them may wait.
func onOwnThread<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<T, Error>) in
        let thread = Thread {
            do {
                continuation.resume(returning: try work())
            } catch {
                continuation.resume(throwing: error)
            }
        }
        thread.stackSize = 1 << 21
        thread.start()
    }
}

/// Handles are freed here, one after the other: freeing a request waits for its callback, and the last reference to it may
/// well go on the thread of that callback.
let reaper = DispatchQueue(label: "qwip.reaper")

/// Has `free` called on the reaper's thread; again, while a callback has not returned.
func retire(_ free: @escaping @Sendable () -> Int32) {
    reaper.async {
        if free() == Status.busy.rawValue {
            reaper.asyncAfter(deadline: .now() + 0.2) { retire(free) }
        }
    }
}
