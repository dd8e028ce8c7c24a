;; case: 8
;; does: calls itself for ever
;; when: predict
;; expect: 502 plugin_trapped
;; says: trapped
;; within_ms: 20000

(func $deeper (param i64) (result i64) (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (i64.const 1)))
(func {before} (drop (call $deeper (i64.const 0))) unreachable)
