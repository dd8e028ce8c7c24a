;; case: 12
;; does: has the host write all of a request to one place; that harms nobody else
;; when: predict
;; expect: 200
;; within_ms: 20000

(data (i32.const 400) "{}")
(data (i32.const 24) "\05")
(func {describe} (i32.const 16))
(func {realloc} (i32.const 1024))
(func {before}
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 400))
    (i32.store (i32.const 316) (i32.const 2))
    (i32.const 300))
