;; case: 13
;; does: hands on a tensor whose extents multiply to more than can be counted
;; when: predict
;; expect: 502 plugin_error
;; within_ms: 20000

(data (i32.const 400) "x")
(data (i32.const 3000) "\ff\ff\ff\ff\ff\ff\ff\7f\ff\ff\ff\ff\ff\ff\ff\7f")
(func {before}
    (i32.store8 (i32.const 308) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 2000))
    (i32.store (i32.const 316) (i32.const 1))
    ;; The tensor: name, type FP32, shape, data.
    (i32.store (i32.const 2000) (i32.const 400))
    (i32.store (i32.const 2004) (i32.const 1))
    (i32.store8 (i32.const 2008) (i32.const 11))
    (i32.store (i32.const 2012) (i32.const 3000))
    (i32.store (i32.const 2016) (i32.const 2))
    (i32.store (i32.const 2020) (i32.const 4000))
    (i32.store (i32.const 2024) (i32.const 8))
    (i32.const 300))
