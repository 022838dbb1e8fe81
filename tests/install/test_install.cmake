# cmake -DBUILD= -DEXAMPLE= -DWORK= -DCOMPILER= -DMAKE_MODEL= -P test_install.cmake
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGV}\nfailed with ${result}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
set(prefix ${WORK}/prefix)
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})

run(${CMAKE_COMMAND} -S ${EXAMPLE} -B ${WORK}/example -DCMAKE_PREFIX_PATH=${prefix}
    -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${WORK}/example)

run(${MAKE_MODEL} ${WORK}/model.onnx)
run(${WORK}/example/run_model ${WORK}/model.onnx)
if(NOT output STREQUAL "y [1,4]\n")
  message(FATAL_ERROR "the example printed:\n${output}")
endif()

run(${prefix}/bin/onrush run ${WORK}/model.onnx)
if(NOT output MATCHES "y: float \\[1,4\\]")
  message(FATAL_ERROR "the installed program printed:\n${output}")
endif()
