;; case: 17
;; does: gives a tensor back twice
;; world: predictor
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[resource-drop]tensor" (func $drop (param i32)))(import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor" (func $make (param i32 i32 i32 i32 i32) (result i32)))
(func {predict}
    (local $tensor i32)
    (local.set $tensor (call $make (i32.const 2000) (i32.const 1) (i32.const 4) (i32.const 400) (i32.const 1)))
    (call $drop (local.get $tensor))
    (call $drop (local.get $tensor))
    (loop br 0)
    unreachable)
