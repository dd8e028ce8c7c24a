;; case: 8
;; does: calls the host from the deepest place that its stack allows
;; when: predict
;; expect: 502 plugin_trapped
;; within_ms: 20000

(import "bulkhead:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))
(func $deeper
    (call $log (i32.const 0) (i32.const 400) (i32.const 0))
    (call $deeper))
(func {before} (call $deeper) unreachable)
