;; case: 22
;; does: has a component within a component, and so on, 60 times; it exports no plugin
;; when: upload
;; expect: 422 wrong_world
;; within_ms: 20000

(component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component (component )))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))
