;; case: 11
;; does: answers with a tensor of a type that there is not
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(func {before}
    (i32.store8 (i32.const 308) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 2000))
    (i32.store (i32.const 316) (i32.const 1))
    (i32.store8 (i32.const 2008) (i32.const 99))
    (i32.const 300))
