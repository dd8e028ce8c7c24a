;; case: 20
;; does: waits for timers that are up at once, for ever
;; when: predict
;; sandbox: timeout_ms = 300
;; expect: 504 plugin_deadline
;; within_ms: 20000

(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $wait (param i64) (result i32)))(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
(import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop (param i32)))
(func {before}
    (local $timer i32)
    (loop
        (local.set $timer (call $wait (i64.const 0)))
        (call $block (local.get $timer))
        (call $drop (local.get $timer))
        (br 0))
    unreachable)
