;; case: 18
;; does: runs a model that it does not have with 10,000 inputs
;; world: predictor
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute" (func $compute (param i32 i32 i32 i32)))
(memory {memory} 8)
(func {predict}
    (call $compute (i32.const 1) (i32.const 2000) (i32.const 10000) (i32.const 400))
    (loop br 0)
    unreachable)
