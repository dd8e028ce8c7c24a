;; case: 15
;; does: writes log lines of a mebibyte each, and then answers
;; when: predict
;; sandbox: timeout_ms = 5000
;; expect: 200
;; counts: bulkhead_plugin_log_lines_dropped_total
;; within_ms: 20000

(import "bulkhead:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(memory {memory} 20)
(data (i32.const 400) "{}")
(func {before}
    (local $left i32)
    (memory.fill (i32.const 65536) (i32.const 97) (i32.const 1048576))
    (local.set $left (i32.const 100))
    (loop
        (call $log (i32.const 1) (i32.const 65536) (i32.const 1048576))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if 0 (local.get $left)))
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 400))
    (i32.store (i32.const 316) (i32.const 2))
    (i32.const 300))
