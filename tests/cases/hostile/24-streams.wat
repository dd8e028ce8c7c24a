;; case: 24
;; does: uses a proposal that is off: streams of components
;; when: upload
;; expect: 422 invalid_component
;; within_ms: 20000

(component
    (type $s (stream u8))
    (core func (canon stream.new $s)))
