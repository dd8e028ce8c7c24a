;; case: 12
;; does: never says where the host may write a request
;; when: predict
;; sandbox: timeout_ms = 300
;; expect: 504 plugin_deadline
;; within_ms: 20000

(global $configured (mut i32) (i32.const 0))
(func {configure} (global.set $configured (i32.const 1)) (i32.const 8))
(func {realloc}
    (if (global.get $configured) (then (loop br 0)))
    (i32.const 1024))
