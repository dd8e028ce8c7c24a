;; case: 15
;; does: writes a log line that is no text
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "bulkhead:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(data (i32.const 400) "\ff")
(func {before} (call $log (i32.const 1) (i32.const 400) (i32.const 1)) unreachable)
