;; case: 12
;; does: calls the host while the host writes a request
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "bulkhead:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(global $configured (mut i32) (i32.const 0))
(func {configure} (global.set $configured (i32.const 1)) (i32.const 8))
(func {realloc}
    (if (global.get $configured) (then (call $log (i32.const 1) (i32.const 400) (i32.const 1))))
    (i32.const 1024))
