;; case: 6
;; does: begins with more memory than any plugin may be granted
;; when: upload
;; expect: 422 over_limits
;; within_ms: 20000

(memory {memory} 4800)
