;; case: 16
;; does: sets a million timers and keeps them
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $wait (param i64) (result i32)))
(func {before}
    (loop
        (drop (call $wait (i64.const 1000000000000)))
        (br 0))
    unreachable)
