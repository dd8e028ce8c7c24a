;; case: 11
;; does: says that it wants more hooks than there are; those are ignored
;; when: predict
;; expect: 200
;; within_ms: 20000

(data (i32.const 400) "{}")
(data (i32.const 24) "\f9")
(func {describe} (i32.const 16))
(func {before}
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 400))
    (i32.store (i32.const 316) (i32.const 2))
    (i32.const 300))
