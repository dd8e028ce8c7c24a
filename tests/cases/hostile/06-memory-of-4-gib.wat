;; case: 6
;; does: begins with all memory that can be addressed
;; when: upload
;; expect: 422 over_limits
;; says: 4294967296 bytes in a memory
;; within_ms: 20000

(memory {memory} 65536)
