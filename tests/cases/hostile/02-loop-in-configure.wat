;; case: 2
;; does: runs for ever when it is configured
;; when: upload
;; expect: 422 start_failed
;; within_ms: 20000

(func {configure} (loop br 0) unreachable)
