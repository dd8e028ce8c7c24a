;; case: 24
;; does: uses a proposal that is off: asynchronous functions of components
;; when: upload
;; expect: 422 invalid_component
;; within_ms: 20000

(component
    (core func (canon task.cancel)))
