;; case: 2
;; does: runs for ever when it is instantiated
;; when: upload
;; expect: 422 start_failed
;; within_ms: 20000

(func $start (loop br 0))
(start $start)
