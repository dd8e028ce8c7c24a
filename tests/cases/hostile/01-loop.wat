;; case: 1
;; does: runs for ever
;; when: predict
;; sandbox: timeout_ms = 300
;; expect: 504 plugin_deadline
;; says: 300 ms
;; within_ms: 20000

(func {before} (loop br 0) unreachable)
