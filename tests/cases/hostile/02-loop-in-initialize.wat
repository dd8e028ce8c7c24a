;; case: 2
;; does: runs for ever in the function that toolchains have run first
;; when: upload
;; expect: 422 start_failed
;; within_ms: 20000

(func (export "_initialize") (loop br 0))
