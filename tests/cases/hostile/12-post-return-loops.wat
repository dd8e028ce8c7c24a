;; case: 12
;; does: never ends when its answer was read
;; when: predict
;; sandbox: timeout_ms = 300
;; expect: 504 plugin_deadline
;; within_ms: 20000

(data (i32.const 400) "{}")
(func {post-before} (loop br 0))
(func {before}
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 400))
    (i32.store (i32.const 316) (i32.const 2))
    (i32.const 300))
