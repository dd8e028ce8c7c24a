;; case: 12
;; does: has the host write a list where none can be
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(data (i32.const 24) "\05")
(func {describe} (i32.const 16))
(global $configured (mut i32) (i32.const 0))
(func {configure} (global.set $configured (i32.const 1)) (i32.const 8))
(func {realloc}
    (if (global.get $configured) (then (return (i32.const 1025))))
    (i32.const 1024))
