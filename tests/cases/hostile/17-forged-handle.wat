;; case: 17
;; does: uses tensors that it never had, by all numbers in turn
;; world: predictor
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.dimensions" (func $dimensions (param i32 i32)))
(func {predict}
    (call $dimensions (i32.const 7) (i32.const 2000))
    (loop br 0)
    unreachable)
