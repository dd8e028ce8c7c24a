;; case: 30
;; does: wants a gibibyte of random numbers
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
(func {before} (call $random (i64.const 1073741824) (i32.const 2000)) unreachable)
