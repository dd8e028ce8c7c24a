;; case: 20
;; does: waits for a timer of centuries
;; when: predict
;; sandbox: timeout_ms = 300
;; expect: 504 plugin_deadline
;; within_ms: 20000

(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $wait (param i64) (result i32)))(import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
(func {before}
    (call $block (call $wait (i64.const 9000000000000000000)))
    unreachable)
