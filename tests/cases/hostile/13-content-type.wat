;; case: 13
;; does: answers bytes with a content type of 60 KB
;; when: predict
;; expect: 502 plugin_error
;; within_ms: 20000

(func {before}
    (memory.fill (i32.const 2000) (i32.const 97) (i32.const 60000))
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store8 (i32.const 308) (i32.const 2))
    (i32.store (i32.const 312) (i32.const 2000))
    (i32.store (i32.const 316) (i32.const 60000))
    (i32.const 300))
