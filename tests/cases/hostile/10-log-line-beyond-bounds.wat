;; case: 10
;; does: writes a log line that is larger than what a call may have the host copy
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "bulkhead:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(memory {memory} 16 256)
(func {before}
    (call $log (i32.const 1) (i32.const 0) (i32.const -1))
    unreachable)
