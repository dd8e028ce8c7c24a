;; case: 24
;; does: uses a proposal that is off: exceptions
;; when: upload
;; expect: 422 invalid_component
;; within_ms: 20000

(component (core module (tag)))
