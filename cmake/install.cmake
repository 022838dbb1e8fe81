# What `cmake --install` puts in place: the program, the public headers, one shared library that
# holds everything, and the package that find_package(onrush) finds. Users link onrush::onrush.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# The parts whose functions the public headers declare; of the others, what those need.
add_library(onrush_shared SHARED
  $<TARGET_OBJECTS:onrush_base> $<TARGET_OBJECTS:onrush_runtime>)
set_target_properties(onrush_shared PROPERTIES
  OUTPUT_NAME onrush
  EXPORT_NAME onrush
  LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_link_libraries(onrush_shared PRIVATE onrush_runtime)
target_compile_features(onrush_shared PUBLIC cxx_std_20)
target_include_directories(onrush_shared
  INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

install(TARGETS onrush RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS onrush_shared EXPORT onrush LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/onrush
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/onrush)
install(EXPORT onrush FILE onrushConfig.cmake NAMESPACE onrush:: DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/onrushConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/onrushConfigVersion.cmake DESTINATION ${package_dir})
