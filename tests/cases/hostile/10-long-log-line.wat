;; case: 10
;; does: writes a log line of 60 MiB, again and again
;; when: predict
;; sandbox: memory_mb = 64, timeout_ms = 500
;; expect: 504 plugin_deadline
;; within_ms: 20000

(import "bulkhead:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(memory {memory} 960)
(func {before}
    (loop
        (call $log (i32.const 1) (i32.const 0) (i32.const 62914560))
        (br 0))
    unreachable)
