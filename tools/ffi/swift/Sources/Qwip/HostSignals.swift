import CQwip
import Foundation
#if canImport(UIKit) && !os(watchOS)
import UIKit
#endif

extension Model {
    /// What the numbers of `qwip_model_on_memory_pressure` are called.
    public enum MemoryPressure: Int32, Sendable {
        case normal = 0
        /// Buffers of idle sessions go, and what schemas and grammars have built up.
        case moderate = 1
        /// Also keys and values of idle sessions, which are computed again when needed, and mapped pages.
        case critical = 2
    }

    public func onMemoryPressure(_ level: MemoryPressure) throws {
        try checked(qwip_model_on_memory_pressure(handle, level.rawValue))
    }

    #if !os(Linux)
    /// Fewer threads and pauses, as the system says that the device is hot.
    public func onThermal(_ state: ProcessInfo.ThermalState) throws {
        let number: Int32
        switch state {
        case .nominal:
            number = 0
        case .fair:
            number = 1
        case .serious:
            number = 2
        case .critical:
            number = 3
        @unknown default:
            number = 3
        }
        try checked(qwip_model_on_thermal(handle, number))
    }
    #endif

    /// Pauses all work; returns once nothing computes any more, after some milliseconds.
    public func background() throws {
        try checked(qwip_model_background(handle))
    }

    /// What was paused goes on.
    public func foreground() throws {
        try checked(qwip_model_foreground(handle))
    }
}

/// Keeps a model, and tells it what the system tells the app, as long as this object lives: heat, memory warnings, background and
/// foreground.
///
/// Sendable: what it holds is set in `init` and taken apart in `deinit`.
public final class HostSignals: @unchecked Sendable {
    private var observers: [NSObjectProtocol] = []
    private let center: NotificationCenter
    #if canImport(Darwin)
    private let pressure = DispatchSource.makeMemoryPressureSource(
        eventMask: [.normal, .warning, .critical], queue: DispatchQueue.global())
    #endif

    /// `failed` is told what the library answers to a signal with; nothing fails but a model that has been freed.
    public init(model: Model, center: NotificationCenter = .default, failed: @escaping @Sendable (Error) -> Void = { _ in }) {
        self.center = center
        #if !os(Linux)
        observe(ProcessInfo.thermalStateDidChangeNotification, failed) {
            try model.onThermal(ProcessInfo.processInfo.thermalState)
        }
        do {
            try model.onThermal(ProcessInfo.processInfo.thermalState)
        } catch {
            failed(error)
        }
        #endif
        #if canImport(UIKit) && !os(watchOS)
        observe(UIApplication.didReceiveMemoryWarningNotification, failed) { try model.onMemoryPressure(.moderate) }
        // On the thread that posts: the app may be suspended as soon as that returns.
        observe(UIApplication.didEnterBackgroundNotification, failed) { try model.background() }
        observe(UIApplication.willEnterForegroundNotification, failed) { try model.foreground() }
        #endif
        #if canImport(Darwin)
        let source = pressure
        source.setEventHandler {
            let level: Model.MemoryPressure
            if source.data.contains(.critical) {
                level = .critical
            } else if source.data.contains(.warning) {
                level = .moderate
            } else {
                level = .normal
            }
            do {
                try model.onMemoryPressure(level)
            } catch {
                failed(error)
            }
        }
        source.activate()
        #endif
    }

    private func observe(
        _ name: Notification.Name, _ failed: @escaping @Sendable (Error) -> Void, _ tell: @escaping @Sendable () throws -> Void
    ) {
        observers.append(center.addObserver(forName: name, object: nil, queue: nil) { _ in
            do {
                try tell()
            } catch {
                failed(error)
            }
        })
    }

    deinit {
        for observer in observers { center.removeObserver(observer) }
        #if canImport(Darwin)
        pressure.cancel()
        #endif
    }
}
