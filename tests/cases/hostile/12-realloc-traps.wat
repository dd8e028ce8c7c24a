;; case: 12
;; does: breaks off while the host writes a request
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(global $configured (mut i32) (i32.const 0))
(func {configure} (global.set $configured (i32.const 1)) (i32.const 8))
(func {realloc}
    (if (global.get $configured) (then unreachable))
    (i32.const 1024))
