;; case: 12
;; does: takes memory until there is none while the host writes a request
;; when: predict
;; sandbox: memory_mb = 16
;; expect: 502 plugin_out_of_memory
;; within_ms: 20000

(global $configured (mut i32) (i32.const 0))
(func {configure} (global.set $configured (i32.const 1)) (i32.const 8))
(func {realloc}
    (if (global.get $configured) (then 
        (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        unreachable))
    (i32.const 1024))
