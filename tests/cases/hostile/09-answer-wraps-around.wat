;; case: 9
;; does: answers with a text whose end is beyond 32 bits
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(func {before}
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (i32.const -16))
    (i32.store (i32.const 316) (i32.const -1))
    (i32.const 300))
