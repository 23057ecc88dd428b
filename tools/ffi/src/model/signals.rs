//! What the host says of how things are.

use super::qwip_model;
use super::threads::Heat;
use crate::call::on;
use crate::status::{Fault, qwip_status};

/// There is memory enough.
pub const QWIP_PRESSURE_NORMAL: i32 = 0;
/// Memory gets short: what is cheap to have again goes. (iOS: a memory warning; Android: TRIM_MEMORY_RUNNING_LOW.)
pub const QWIP_PRESSURE_MODERATE: i32 = 1;
/// The app may be ended soon: all that can be computed or read again goes. (Android: TRIM_MEMORY_RUNNING_CRITICAL and
/// above TRIM_MEMORY_UI_HIDDEN.)
pub const QWIP_PRESSURE_CRITICAL: i32 = 2;

/// The device is cool. (Android: THERMAL_STATUS_NONE.)
pub const QWIP_THERMAL_NOMINAL: i32 = 0;
/// Three quarters of the threads. (Android: THERMAL_STATUS_LIGHT.)
pub const QWIP_THERMAL_FAIR: i32 = 1;
/// Half of the threads, resting a third of the time. (Android: THERMAL_STATUS_MODERATE and SEVERE.)
pub const QWIP_THERMAL_SERIOUS: i32 = 2;
/// One thread, resting two thirds of the time. (Android: THERMAL_STATUS_CRITICAL and worse.)
pub const QWIP_THERMAL_CRITICAL: i32 = 3;

/// The host says how much memory there is: `level` is one of the `QWIP_PRESSURE_` constants. `QWIP_PRESSURE_MODERATE` gives
/// back the buffers of sessions that nobody uses at this moment and what schemas and grammars have built up;
/// `QWIP_PRESSURE_CRITICAL` also their keys and values, which the next use computes again from their tokens, and mapped pages,
/// which are read again when needed. Answers do not change. A loaded model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_on_memory_pressure(model: *mut qwip_model, level: i32) -> qwip_status {
    on(model, |thing| {
        let critical = match level {
            QWIP_PRESSURE_NORMAL => return Ok(()),
            QWIP_PRESSURE_MODERATE => false,
            QWIP_PRESSURE_CRITICAL => true,
            _ => {
                return Err(Fault::argument(format!(
                    "the memory pressure is {level}, expected {QWIP_PRESSURE_NORMAL} to {QWIP_PRESSURE_CRITICAL}"
                )));
            }
        };
        thing.engine()?.relieve(critical);
        Ok(())
    })
}

/// The host says how hot the device is: `state` is one of the `QWIP_THERMAL_` constants (iOS: ProcessInfo.thermalState has the
/// same four). From the next step on, that is between two tokens, fewer threads compute, and they rest in between. Answers do
/// not change. A loaded model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_on_thermal(model: *mut qwip_model, state: i32) -> qwip_status {
    on(model, |thing| {
        let heat = match state {
            QWIP_THERMAL_NOMINAL => Heat::Nominal,
            QWIP_THERMAL_FAIR => Heat::Fair,
            QWIP_THERMAL_SERIOUS => Heat::Serious,
            QWIP_THERMAL_CRITICAL => Heat::Critical,
            _ => {
                return Err(Fault::argument(format!(
                    "the thermal state is {state}, expected {QWIP_THERMAL_NOMINAL} to {QWIP_THERMAL_CRITICAL}"
                )));
            }
        };
        thing.engine()?.set_heat(heat)
    })
}

/// The app goes to the background: returns once nothing computes on this model any more, which takes some milliseconds (a
/// schema that is being read is waited for).
/// Requests wait, and go on where they were when `qwip_model_foreground` is called; of a prompt the slice is computed again that
/// was broken off. Calls that compute on the caller's thread get `QWIP_STATUS_BACKGROUND` until then; one that runs already
/// waits. It may be called from a callback of a request. A loaded model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_background(model: *mut qwip_model) -> qwip_status {
    on(model, |thing| {
        thing.engine()?.set_background(true);
        Ok(())
    })
}

/// The app is in front again: what waits goes on. A loaded model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qwip_model_foreground(model: *mut qwip_model) -> qwip_status {
    on(model, |thing| {
        thing.engine()?.set_background(false);
        Ok(())
    })
}
