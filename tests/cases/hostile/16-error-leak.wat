;; case: 16
;; does: asks for a million graphs that there are not, and keeps the errors
;; world: predictor
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name" (func $load (param i32 i32 i32)))
(func {predict}
    (loop
        (call $load (i32.const 400) (i32.const 4) (i32.const 2000))
        (br 0))
    unreachable)
