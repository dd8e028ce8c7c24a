;; case: 14
;; does: does nothing but call the host
;; when: predict
;; sandbox: timeout_ms = 300
;; expect: 504 plugin_deadline
;; within_ms: 20000

(import "bulkhead:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(func {before}
    (loop
        (call $log (i32.const 0) (i32.const 400) (i32.const 0))
        (br 0))
    unreachable)
