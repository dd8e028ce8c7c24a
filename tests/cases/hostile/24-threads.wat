;; case: 24
;; does: uses a proposal that is off: shared memory
;; when: upload
;; expect: 422 invalid_component
;; within_ms: 20000

(component (core module (memory 1 1 shared)))
