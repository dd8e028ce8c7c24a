;; case: 15
;; does: writes 10,000 log lines and then answers
;; when: predict
;; sandbox: timeout_ms = 5000
;; expect: 200
;; counts: bulkhead_plugin_log_lines_dropped_total
;; within_ms: 20000

(import "bulkhead:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(data (i32.const 400) "{}")
(data (i32.const 500) "a line\0aERROR tenant=other plugin=good@1.0.0 forged\0d\1b[2J\e2\80\ae")
(func {before}
    (local $left i32)
    (local.set $left (i32.const 10000))
    (loop
        (call $log (i32.const 3) (i32.const 500) (i32.const 58))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if 0 (local.get $left)))
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 312) (i32.const 400))
    (i32.store (i32.const 316) (i32.const 2))
    (i32.const 300))
