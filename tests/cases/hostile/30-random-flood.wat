;; case: 30
;; does: wants random numbers and nothing else, 64 KiB at a time
;; when: predict
;; sandbox: timeout_ms = 300
;; expect: 504 plugin_deadline
;; within_ms: 20000

(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
(memory {memory} 4)
(func {realloc} (i32.const 65536))
(func {before}
    (loop
        (call $random (i64.const 65536) (i32.const 2000))
        (br 0))
    unreachable)
