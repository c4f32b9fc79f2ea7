//! Panic handler of the component: traps without a message.
//!
//! No input should cause a panic, and the host does not read messages. Without the code that formats them, the component
//! is smaller.

use core::panic::PanicInfo;

#[panic_handler]
fn trap(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
