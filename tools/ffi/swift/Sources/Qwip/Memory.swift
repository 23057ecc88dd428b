import CQwip
import Foundation
#if canImport(os)
import os
#endif

/// What a session would take, before anything of it is taken.
public struct MemoryEstimate: Sendable, Equatable {
    /// Weights in the mapped file: clean pages, which the system drops and reads again; they do not count against the app.
    public var mapped: UInt64
    /// Memory of our own: cache, intermediate results.
    public var dirty: UInt64
    public var gpu: UInt64
    public var perToken: UInt64
    public var total: UInt64
}

/// Whether a session fits, and what to set as limit.
public struct MemoryAdvice: Sendable, Equatable {
    public var estimate: MemoryEstimate
    /// What the system still gives this process; nil where it does not say (macOS, Linux).
    public var available: UInt64?
    /// Three quarters of what is available: the rest is the app's.
    public var suggestedLimit: UInt64?
    /// Whether what is not mapped stays within that limit; true where nothing is known.
    public var fits: Bool
}

extension Model {
    /// For a session of `context` tokens with default settings; the model has to be open, not loaded.
    public func estimate(context: UInt32) throws -> MemoryEstimate {
        try MemoryEstimate { kind, bytes in
            try checked(qwip_model_estimate(handle, context, kind, bytes))
        }
    }

    /// Compares the estimate with what the system still gives this process. On iOS that is what is left until it ends the app,
    /// and depends on the entitlement `com.apple.developer.kernel.increased-memory-limit`.
    public func advice(context: UInt32) throws -> MemoryAdvice {
        let estimate = try self.estimate(context: context)
        let available = availableMemory()
        let limit = available.map { $0 / 4 * 3 }
        let fits = limit.map { estimate.dirty + estimate.gpu <= $0 } ?? true
        return MemoryAdvice(estimate: estimate, available: available, suggestedLimit: limit, fits: fits)
    }
}

extension MemoryEstimate {
    /// `ask` is told a kind, with the numbers of qwip.h, and where to put the bytes.
    init(_ ask: (Int32, UnsafeMutablePointer<UInt64>) throws -> Void) rethrows {
        var bytes = [UInt64](repeating: 0, count: 5)
        for kind in 0..<5 {
            var one: UInt64 = 0
            try ask(Int32(kind), &one)
            bytes[kind] = one
        }
        self.init(mapped: bytes[0], dirty: bytes[1], gpu: bytes[2], perToken: bytes[3], total: bytes[4])
    }
}

/// Bytes that this process may still take; nil where the system does not say.
public func availableMemory() -> UInt64? {
    #if os(iOS) || os(tvOS) || os(visionOS)
    // 0 means that there is no limit, or that the system does not tell.
    let bytes = UInt64(os_proc_available_memory())
    return bytes == 0 ? nil : bytes
    #else
    return nil
    #endif
}
