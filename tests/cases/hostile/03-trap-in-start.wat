;; case: 3
;; does: breaks off when it is instantiated
;; when: upload
;; expect: 422 start_failed
;; within_ms: 20000

(func $start unreachable)
(start $start)
